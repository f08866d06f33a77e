"""What happens, one use case a file, whatever the answer looks like."""
