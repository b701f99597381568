"""Before a migration: will it converge, and how long will it take?"""
