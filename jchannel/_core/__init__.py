"""The core, in which everything runs, under trio. The three faces carry requests in and outcomes out."""
