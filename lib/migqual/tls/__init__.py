"""Certificates for encrypted migrations: issued, installed, checked, put back."""
