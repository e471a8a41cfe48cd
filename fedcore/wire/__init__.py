"""The protocol as both ends share it: messages, hardened XML-RPC."""
