"""What is measured, part by part."""
