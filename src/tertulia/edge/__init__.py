"""HTTP/1.1 as strangers speak it: connections, the limits of what they may take, and exchanges with the application."""
