"""The smart router: which of the ways to a recipient a message takes, and why.

Pure: it is given the routes, what is known of the providers, prices and quality, and answers with
an order of candidates and the reason for each one's place. Candidates → capacity and health →
what is known of the number → least cost → quality.
"""
