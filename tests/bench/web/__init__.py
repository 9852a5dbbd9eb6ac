"""What pages and API cost, and how long they take, while a replica follows a running tracker."""
