"""What is on disk, and nothing else: pools, their arrays and ledgers, and run directories."""
