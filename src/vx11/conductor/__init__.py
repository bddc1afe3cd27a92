"""Runs matrices: plan, one ansible-runner run a case, observations, judgement, clean-up, evidence, reports.

Imports evidence, engines (to prepare images and to prove that nothing is left), catalogue and the package's leaves; it
talks to madre over HTTP alone.
"""
