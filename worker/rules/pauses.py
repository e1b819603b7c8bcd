"""The reasons why a partner's ConnectWise is left alone for a while, worded for an operator."""

PAUSES = {
    "api_version": "ConnectWise does not serve our API version; check PHIN_CONNECTWISE_API_VERSION",
    "client_id": "ConnectWise refused our clientId; check PHIN_CONNECTWISE_CLIENT_ID",
    "moved": "the address of the API is looked up again",
    "rate_limited": "ConnectWise limits the number of requests",
    "request_refused": "ConnectWise refuses the form of our requests; the worker's log has its words",
    "seal_key_missing": "the key that its keys are sealed with is missing; check PHIN_CONNECTWISE_SEAL_KEYS",
    "unreachable": "ConnectWise does not answer",
    "unexpected": "an internal error; the worker's log names it",
}
"""The reasons why a partner is paused, by problem code."""
OURS = ("api_version", "client_id", "request_refused", "seal_key_missing")
"""The problems that only an operator can mend."""
