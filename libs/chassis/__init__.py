"""Mechanism that the services share: settings, logs, lifecycle, health, metrics, AMQP.

It knows no deployment words: what a message means is the business of those who hand it over.
"""
