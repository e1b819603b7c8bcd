"""The contract as an AsyncAPI document and as a page: docs/asyncapi.yaml and docs/asyncapi.html (`make docs`)."""
