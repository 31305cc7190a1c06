"""What a short message is made of: alphabets and segments."""
