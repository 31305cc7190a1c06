"""Forgetting: what names people is taken out of ended messages, by age or because it was asked."""
