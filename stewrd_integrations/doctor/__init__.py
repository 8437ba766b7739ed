"""`python -m stewrd_integrations.doctor`: what keeps this machine from talking to Stewrd.

It looks at the packages, the key, the way to the API, what the API says to the key, the clock and
the store, and says of each problem what to do. It asks for one run, which costs one credit; all
else that it asks are empty messages, which the API refuses for nothing. It shows no key.
"""
