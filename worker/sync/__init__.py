"""One partner's due work: targets in the store, calls to ConnectWise, results.

The way of one addition: `partner_pool` claims its partner's lease, `supervisor` starts a run, and the run has
`due_work` load the job, `calls` read the addition, `transitions` decide (by the rules), `commit` open its ledger row,
`calls` write the quantity, `transitions` take the answer, `commit` store the outcome and let the `results` leave.
"""
