"""What a telephone number says about itself: its country, its kind, its time zones."""
