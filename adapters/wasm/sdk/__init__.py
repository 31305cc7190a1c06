"""What authors of adapters use: the JavaScript beside their own, the build, and a template."""
