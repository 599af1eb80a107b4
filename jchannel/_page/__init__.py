"""The page frontend: the server's plain page, or the application's own files with the client inserted."""
