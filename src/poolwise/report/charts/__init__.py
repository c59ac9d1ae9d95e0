"""Small static pictures as inline SVG: no script, no font, no request; colours come from the page's CSS."""
