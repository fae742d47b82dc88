"""Keeps the property records of a real-estate CRM in step with MLS listings."""

__version__ = "0.1.0"
