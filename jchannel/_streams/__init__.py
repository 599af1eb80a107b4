"""Byte streams: sources, readers, records, sinks and progress. No async library is imported."""
