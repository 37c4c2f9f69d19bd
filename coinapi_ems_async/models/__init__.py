"""The vocabulary of the service: structs, open enumerations, and the life of an order."""
