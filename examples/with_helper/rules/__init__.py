"""A package beside the script; it reaches the workers as the modules do."""
