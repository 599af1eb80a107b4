"""Byte streams as users hold them: sources, readers, records, sinks and progress. No async library is imported."""
