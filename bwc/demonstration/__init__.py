"""The demonstration: invented people, an emulated dock with filmed-by-nobody cameras, and the whole way run once.

Emulation stops at libusb's level: everything above it is the product. Announced on every page and in the ledger.
"""
