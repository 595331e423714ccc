"""What the verbs do, each from its options to what it writes."""
