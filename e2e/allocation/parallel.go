package allocation

// InParallel does something for each number below count, so many at a time, and returns the first error.
func InParallel(workers, count int, do func(int) error) error {
	numbers, errs := make(chan int), make(chan error, workers)
	for range workers {
		go func() {
			var first error
			for i := range numbers {
				if first == nil {
					first = do(i)
				}
			}
			errs <- first
		}()
	}
	for i := range count {
		numbers <- i
	}
	close(numbers)
	var first error
	for range workers {
		if err := <-errs; first == nil {
			first = err
		}
	}
	return first
}
