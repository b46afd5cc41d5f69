"""What a linear map leaves over: a bag of small networks, and its training."""
