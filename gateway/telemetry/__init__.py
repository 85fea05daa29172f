"""What the roles tell about themselves: log lines, metrics and traces."""
