"""From users' files to spec objects: YAML with line numbers, fiberloom's own format, Timeloop's."""
