"""The bridge: where asyncio and threads meet trio. The facades stand on it, and it stands on the core."""
