<?php
// An application for php-fpm: good or slow, by the request's path.
$path = $_SERVER['REQUEST_URI'];
if (str_starts_with($path, '/sleep/')) {
    sleep(20);
}
header('Content-Length: 3');
echo "ok\n";
