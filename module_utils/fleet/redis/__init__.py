"""The bench's Redis servers: their users, and the queue's file."""
