"""How the JavaScript client gets into a page."""
