//! The scenario format, the stories and the races
