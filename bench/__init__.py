"""The benchmark harness: a fake endpoint, a raw HTTP client and scenarios that measure a real server process."""
