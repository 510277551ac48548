"""AMQP 0-9-1 over plain aio-pika and aiormq, with our own reconnecting.

`connection` keeps a connection for a part's life; `publisher` sends batches and says what became of each message;
`consumer` hands deliveries to a handler and settles them by the class of its error; `dead` buries what is poisoned;
`declare` makes exchanges and queues from data; `watchdog` finds consumers that are given nothing any more, by the rules
of `silence`.
"""
