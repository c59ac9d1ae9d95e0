"""What poolwise is measured against: plain transcriptions of textbook algorithms, and doors to public packages."""
