"""The operators' pages. They call the operators' API of their own process, with its checks."""
