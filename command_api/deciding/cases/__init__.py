"""What each command comes to: the events that it records, and on which streams."""
