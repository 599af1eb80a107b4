"""The tests of jchannel. The folders mirror the package; `browser` holds what needs Chromium."""
