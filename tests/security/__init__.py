"""What the package promises of security, each promise with its proof: see `test_lines`."""
