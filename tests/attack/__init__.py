"""The API under attack: requests that nobody would send by mistake, from every role, against a lab of two teams.

`make attack` sends thousands for each role and prints what came back; CI sends some hundreds.
"""
