"""The notebook frontend: the outputs that connect a notebook's page, their desk in the server, and the panels."""
