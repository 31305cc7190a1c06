"""The nine layers between a request and its message, one file each.

Auth → Tenant → Schema → Content → Compliance → DNC → Rate → Dedup → Enrich.
"""
