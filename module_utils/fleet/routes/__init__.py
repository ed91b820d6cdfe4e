"""Which methods of the apps a reporting bench may answer: read from source, nothing imported."""
