"""The Bedrock Converse dialect."""
