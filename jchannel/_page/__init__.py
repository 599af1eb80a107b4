"""The page frontend: the page that a server shows, or the application's own files with the client in them."""
