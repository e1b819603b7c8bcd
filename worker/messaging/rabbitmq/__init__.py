"""RabbitMQ by kombu and py-amqp: the only package that knows them.

One connection consumes and settles, on one thread; another publishes, so that a blocked publisher stalls no
acknowledgement. What arrives is raw bytes; what it means is decided elsewhere.
"""

from worker.messaging.rabbitmq import tolerant
from worker.messaging.rabbitmq.rabbit import RabbitBroker

tolerant.install()

__all__ = ["RabbitBroker"]
