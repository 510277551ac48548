"""Real PostgreSQL and RabbitMQ for one machine: `rigbeat up` and the tests. Knows no deployment words."""
