"""The notebook frontend: the outputs that connect a notebook's page, their desk at the server, and the panels."""
